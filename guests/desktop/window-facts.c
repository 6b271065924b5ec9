// Tells the host which windows the desktop has: one line on the serial console for each title that appears,
//     vmsync-desktop: window TITLE
// one for each window that gets the keyboard ("vmsync-desktop: focus TITLE"),
// and, once there is a window manager, "vmsync-desktop: ready". It waits for events of X and does nothing between them.
#include <X11/Xatom.h>
#include <X11/Xlib.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOWS_MAX 64  // more than a person has open; further ones go unreported
#define TITLE_MAX 200   // longer titles are cut: a fact is one line

struct seen {
    Window window;
    char title[TITLE_MAX + 1];
};

static Display *display;
static Atom client_list, net_name, utf8, supporting, active_window;
static struct seen seen[WINDOWS_MAX];
static FILE *console;

// A window may be gone before we ask about it; that is no reason to end.
static int ignore(Display *d, XErrorEvent *e) {
    (void)d;
    (void)e;
    return 0;
}

static unsigned char *property(Window window, Atom name, Atom type, unsigned long *count) {
    Atom actual;
    int format;
    unsigned long rest;
    unsigned char *value = NULL;
    *count = 0;
    if (XGetWindowProperty(display, window, name, 0, 1024, False, type, &actual, &format, count, &rest, &value) != Success)
        return NULL;
    if (value && *count == 0) {
        XFree(value);
        value = NULL;
    }
    return value;
}

static void tell(const char *what, const char *text) {
    fprintf(console, "vmsync-desktop: %s%s%s\n", what, *text ? " " : "", text);
    fflush(console);
}

static struct seen *place_of(Window window) {
    struct seen *free_place = NULL;
    for (int i = 0; i < WINDOWS_MAX; i++) {
        if (seen[i].window == window) return &seen[i];
        if (!seen[i].window && !free_place) free_place = &seen[i];
    }
    if (free_place) {
        free_place->window = window;
        free_place->title[0] = 0;
        XSelectInput(display, window, PropertyChangeMask | StructureNotifyMask);
    }
    return free_place;
}

static void report_title(Window window) {
    unsigned long count;
    struct seen *place = place_of(window);
    char title[TITLE_MAX + 1] = "";
    unsigned char *value = property(window, net_name, utf8, &count);
    if (!value) value = property(window, XA_WM_NAME, AnyPropertyType, &count);
    if (!value || !place) return;
    snprintf(title, sizeof title, "%s", (char *)value);
    XFree(value);
    for (char *c = title; *c; c++)
        if (iscntrl((unsigned char)*c)) *c = ' ';
    if (*title && strcmp(title, place->title) != 0) {
        strcpy(place->title, title);
        tell("window", title);
    }
}

static void report_focus(Window root) {
    static Window last;
    unsigned long count;
    unsigned char *value = property(root, active_window, XA_WINDOW, &count);
    Window active = value ? *(Window *)value : 0;
    if (value) XFree(value);
    if (active == last) return;
    last = active;
    struct seen *place = active ? place_of(active) : NULL;
    if (place && place->title[0]) tell("focus", place->title);
}

static void look_around(Window root) {
    static int ready;
    unsigned long count;
    unsigned char *value = property(root, supporting, XA_WINDOW, &count);
    if (value && !ready) {
        ready = 1;
        tell("ready", "");
    }
    if (value) XFree(value);
    value = property(root, client_list, XA_WINDOW, &count);
    for (unsigned long i = 0; i < count; i++) report_title(((Window *)value)[i]);
    if (value) XFree(value);
}

static void forget(Window window) {
    for (int i = 0; i < WINDOWS_MAX; i++)
        if (seen[i].window == window) seen[i].window = 0;
}

int main(void) {
    display = XOpenDisplay(NULL);
    console = fopen("/dev/ttyS0", "w");
    if (!display || !console) return 1;
    XSetErrorHandler(ignore);
    client_list = XInternAtom(display, "_NET_CLIENT_LIST", False);
    net_name = XInternAtom(display, "_NET_WM_NAME", False);
    utf8 = XInternAtom(display, "UTF8_STRING", False);
    active_window = XInternAtom(display, "_NET_ACTIVE_WINDOW", False);
    supporting = XInternAtom(display, "_NET_SUPPORTING_WM_CHECK", False);
    Window root = DefaultRootWindow(display);
    XSelectInput(display, root, PropertyChangeMask);
    look_around(root);
    for (;;) {
        XEvent event;
        XNextEvent(display, &event);
        if (event.type == DestroyNotify) forget(event.xdestroywindow.window);
        if (event.type != PropertyNotify) continue;
        Atom changed = event.xproperty.atom;
        if (event.xproperty.window == root) {
            if (changed == client_list || changed == supporting) look_around(root);
            if (changed == active_window) report_focus(root);
        } else if (changed == net_name || changed == XA_WM_NAME) {
            report_title(event.xproperty.window);
        }
    }
}
