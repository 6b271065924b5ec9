// The witness: process 1 of the small guest. It makes visible from outside whether the guest's memory, its disk and
// its time went on without a break:
//   - a counter on the console, ten times a second, from 1, without gap;
//   - a nonce that exists only in this process's memory, so a guest that was booted anew cannot know it;
//   - `synced`, the last counter whose line in /var/witness.log was acknowledged by fsync.
// It is one process that never forks by itself and allocates nothing, so an idle guest writes few pages.
//
// It also answers the power button by a clean shutdown, and runs each line typed on the console as a shell command.
// It avoids printf: on aarch64 that would pull soft-float routines that a libc alone does not have.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/gpio.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_NANOSECONDS = 100 * 1000 * 1000,
    TICKS_PER_LOG_LINE = 10,
    NONCE_BYTES = 16,
    LINE_BYTES = 256,
    COMMAND_BYTES = 4096,  // what a terminal passes on as one line
    BUTTONS_MAX = 8,
    // QEMU's `virt` machine wires its power button to this line of the PL061, and the cloud kernel has no gpio-keys.
    POWER_GPIO_LINE = 3,
    // What processes get between SIGTERM and SIGKILL when the guest goes down.
    GRACE_MICROSECONDS = 200 * 1000,
};

static const char log_path[] = "/var/witness.log";

/// One line under construction; what does not fit is cut.
struct line {
    char text[LINE_BYTES];
    size_t length;
};

struct witness {
    uint64_t counter;
    uint64_t synced;
    int log;
    char nonce[2 * NONCE_BYTES + 1];
};

static void put(struct line *line, const char *text) {
    size_t length = strlen(text);
    if (length > LINE_BYTES - line->length) length = LINE_BYTES - line->length;
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void put_number(struct line *line, uint64_t value) {
    char digits[21];
    char *first = digits + sizeof digits - 1;
    *first = 0;
    do *--first = (char)('0' + value % 10);
    while (value /= 10);
    put(line, first);
}

/// Writes the whole line at once, so that output of a command cannot stand in the middle of it.
static bool flush(int fd, struct line *line) {
    put(line, "\n");
    return write(fd, line->text, line->length) == (ssize_t)line->length;
}

static void say(const char *text) {
    struct line line = {.length = 0};
    put(&line, text);
    flush(STDOUT_FILENO, &line);
}

// MARK: the nonce, the counter, the log

/// Reads the nonce straight into memory: it must never be on a disk.
static void make_nonce(struct witness *witness) {
    static const char hex[] = "0123456789abcdef";
    uint8_t bytes[NONCE_BYTES] = {0};
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, bytes, sizeof bytes) != sizeof bytes) say("vmsync-witness error=urandom");
    close(fd);
    for (size_t i = 0; i < sizeof bytes; i++) {
        witness->nonce[2 * i] = hex[bytes[i] >> 4];
        witness->nonce[2 * i + 1] = hex[bytes[i] & 15];
    }
}

static void print_state(const struct witness *witness) {
    struct line line = {.length = 0};
    put(&line, "vmsync-witness n=");
    put_number(&line, witness->counter);
    put(&line, " nonce=");
    put(&line, witness->nonce);
    put(&line, " synced=");
    put_number(&line, witness->synced);
    flush(STDOUT_FILENO, &line);
}

/// Appends the counter to the log; `synced` moves only after fsync said that it is on the disk.
static void append_to_log(struct witness *witness) {
    struct line line = {.length = 0};
    put_number(&line, witness->counter);
    if (flush(witness->log, &line) && fsync(witness->log) == 0) witness->synced = witness->counter;
    else say("vmsync-witness error=log");
}

/// One tick. Ticks that were missed while the machine stood still are not made up for.
static void tick(struct witness *witness, int timer) {
    uint64_t expirations;
    if (read(timer, &expirations, sizeof expirations) != sizeof expirations) return;
    witness->counter++;
    print_state(witness);
    if (witness->counter % TICKS_PER_LOG_LINE == 0) append_to_log(witness);
}

// MARK: the power button

/// Ends everything; the log is closed first, because a file open for writing holds the disk.
static void power_off(int log) {
    close(log);
    say("vmsync-witness off");
    kill(-1, SIGTERM);
    usleep(GRACE_MICROSECONDS);
    kill(-1, SIGKILL);
    sync();
    if (mount("", "/", "", MS_REMOUNT | MS_RDONLY, "") != 0) say("vmsync-witness error=remount");
    reboot(RB_POWER_OFF);
}

/// Opens every input device that has a power key (q35: the ACPI button). Returns how many.
static size_t open_power_keys(struct pollfd *buttons, size_t room) {
    size_t found = 0;
    DIR *directory = opendir("/dev/input");
    if (!directory) return 0;
    for (struct dirent *entry; found < room && (entry = readdir(directory));) {
        uint8_t keys[KEY_MAX / 8 + 1] = {0};
        if (strncmp(entry->d_name, "event", 5) != 0) continue;
        int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) continue;
        bool has_power = ioctl(fd, EVIOCGBIT(EV_KEY, sizeof keys), keys) >= 0
            && (keys[KEY_POWER / 8] >> (KEY_POWER % 8) & 1);
        if (has_power) buttons[found++] = (struct pollfd){.fd = fd, .events = POLLIN};
        else close(fd);
    }
    closedir(directory);
    return found;
}

/// Opens the power button of QEMU's `virt` machine when it was booted without firmware. Returns 0 or 1.
static size_t open_power_gpio(struct pollfd *button) {
    struct gpioevent_request request = {
        .lineoffset = POWER_GPIO_LINE,
        .handleflags = GPIOHANDLE_REQUEST_INPUT,
        .eventflags = GPIOEVENT_REQUEST_RISING_EDGE,
        .consumer_label = "power",
    };
    int chip = open("/dev/gpiochip0", O_RDONLY | O_CLOEXEC);
    if (chip < 0) return 0;
    bool opened = ioctl(chip, GPIO_GET_LINEEVENT_IOCTL, &request) == 0;
    close(chip);
    if (opened) *button = (struct pollfd){.fd = request.fd, .events = POLLIN};
    return opened;
}

/// Whether what `key` has to tell is a press of the power key.
static bool power_key_pressed(int key) {
    struct input_event event;
    bool pressed = false;
    while (read(key, &event, sizeof event) == sizeof event)
        pressed |= event.type == EV_KEY && event.code == KEY_POWER && event.value == 1;
    return pressed;
}

// MARK: commands

/// Lets the console deliver whole lines without repeating them: what is typed must not stand between our lines.
static void quiet_console(void) {
    struct termios settings;
    if (tcgetattr(STDIN_FILENO, &settings) != 0) return;
    settings.c_lflag = (settings.c_lflag | ICANON) & ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSANOW, &settings);
}

/// Starts the command typed on the console. Its input is empty, so that it cannot eat the next command; a last
/// line says how it ended.
static void run_typed_command(void) {
    static const char script[] = "(eval \"$1\") </dev/null; echo \"vmsync-witness ran status=$?\"";
    char command[COMMAND_BYTES];
    ssize_t length = read(STDIN_FILENO, command, sizeof command);
    if (length <= 1) return;
    command[length - 1] = 0;
    if (fork() != 0) return;
    signal(SIGCHLD, SIG_DFL);
    execl("/bin/sh", "sh", "-c", script, "sh", command, (char *)NULL);
    _exit(127);
}

// MARK: the loop

static int start_timer(void) {
    const struct timespec period = {.tv_nsec = TICK_NANOSECONDS};
    const struct itimerspec schedule = {.it_interval = period, .it_value = period};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (timer >= 0) timerfd_settime(timer, 0, &schedule, NULL);
    return timer;
}

int main(void) {
    struct witness witness = {.counter = 0};
    struct pollfd events[2 + BUTTONS_MAX];
    struct pollfd *timer = &events[0], *console = &events[1], *buttons = &events[2];

    signal(SIGCHLD, SIG_IGN);  // Process 1 inherits every orphan; the kernel shall bury them.
    quiet_console();
    make_nonce(&witness);
    witness.log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    *timer = (struct pollfd){.fd = start_timer(), .events = POLLIN};
    *console = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    size_t keys = open_power_keys(buttons, BUTTONS_MAX - 1);
    size_t count = 2 + keys + open_power_gpio(buttons + keys);

    for (;;) {
        if (poll(events, count, -1) <= 0) continue;
        if (timer->revents) tick(&witness, timer->fd);
        if (console->revents & POLLIN) run_typed_command();
        for (size_t i = 0; i < count - 2; i++) {
            if (!buttons[i].revents) continue;
            if (i >= keys || power_key_pressed(buttons[i].fd)) power_off(witness.log);
        }
    }
}
