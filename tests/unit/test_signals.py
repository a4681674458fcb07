"""The first signal drains, the second kills; afterwards everything is as it was. Signals are really sent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from byov_migrate.signals import DRAINING, draining


@pytest.mark.parametrize("number", DRAINING)
def test_the_first_signal_sets_the_stop_and_is_remembered(number: signal.Signals) -> None:
    """By its number: the exit code tells which one it was."""
    stop = threading.Event()
    with draining(stop) as received:
        os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert received == [number]


def test_without_a_signal_nothing_is_stopped() -> None:
    """And nothing is left behind."""
    before = [signal.getsignal(number) for number in DRAINING]
    stop = threading.Event()
    with draining(stop) as received:
        assert [signal.getsignal(number) for number in DRAINING] != before
    assert not stop.is_set()
    assert received == []
    assert [signal.getsignal(number) for number in DRAINING] == before


def test_handlers_are_given_back_after_an_error_too() -> None:
    """A host program has handlers of its own."""
    before = [signal.getsignal(number) for number in DRAINING]
    with pytest.raises(ZeroDivisionError), draining(threading.Event()):
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in DRAINING] == before


def test_the_first_signal_gives_back_all_handlers() -> None:
    """SIGTERM after Ctrl-C is a second signal as well."""
    before = [signal.getsignal(number) for number in DRAINING]
    with draining(threading.Event()):
        os.kill(os.getpid(), signal.SIGTERM)
        assert [signal.getsignal(number) for number in DRAINING] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """Whoever starts a run with nohup wants it to outlive the terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = threading.Event()
        with draining(stop):
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


STUBBORN = """
import sys, threading, time
from byov_migrate.signals import draining
stop = threading.Event()
with draining(stop):
    print("ready", flush=True)
    stop.wait(20)
    print("stopped", flush=True)
    time.sleep(20)
"""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
def test_the_second_signal_kills(second: signal.Signals) -> None:
    """Whoever cannot wait for the drain must not have to look for SIGKILL."""
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopped\n"
    process.send_signal(second)
    assert process.wait(5) == -second
    process.stdout.close()
