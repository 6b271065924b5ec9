#!/usr/bin/python3
"""What logind asks of systemd when a host sleeps or shuts down, and nothing else: each unit is there, starts at once
and is through half a second later. So logind is the real one, and the host stays awake."""

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

MANAGER = "org.freedesktop.systemd1.Manager"
PATH = "/org/freedesktop/systemd1"
JOB_MILLISECONDS = 500


class Unit(dbus.service.FallbackObject):
    @dbus.service.method(dbus.PROPERTIES_IFACE, in_signature="ss", out_signature="v")
    def Get(self, interface, name):
        return dbus.String("loaded")


class Manager(dbus.service.Object):
    jobs = 0

    @dbus.service.method(MANAGER)
    def Subscribe(self):
        pass

    @dbus.service.method(MANAGER, in_signature="ss", out_signature="o")
    def StartUnit(self, unit, mode):
        print("starting", unit, flush=True)
        self.jobs += 1
        number, job = self.jobs, dbus.ObjectPath(f"{PATH}/job/{self.jobs}")
        GLib.timeout_add(JOB_MILLISECONDS, lambda: self.JobRemoved(number, job, unit, "done") and False)
        return job

    @dbus.service.signal(MANAGER, signature="uoss")
    def JobRemoved(self, number, job, unit, result):
        pass


DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
name = dbus.service.BusName("org.freedesktop.systemd1", bus)
Unit(bus, f"{PATH}/unit")
Manager(bus, PATH)
GLib.MainLoop().run()
