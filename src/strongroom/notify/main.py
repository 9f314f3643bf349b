"""The notify process: reads guard's notices and has each told to its member, until it is ended. Holds no key; guard
never waits for it, and it can write nothing that guard reads."""

import argparse
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from strongroom.notify.config import Config, ConfigError, read_config
from strongroom.notify.notice import message_of
from strongroom.notify.outbox import Outbox
from strongroom.notify.send import Post, RefusedError, SendError, open_post

LOG = logging.getLogger("strongroom.notify")


def notify(config: Config, outbox: Outbox, post: Post, stop: threading.Event) -> None:
    """Until told to stop. Raises: OSError when its own disk fails."""
    known: set[str] = set()
    while not stop.is_set():
        outbox.follow()
        fault = send_due(config, outbox, post, stop)
        nobodys = {each.notice.person for each in outbox.waiting.values()} - config.members.keys()
        for person in sorted(nobodys - known):
            LOG.error("alarm: %s is to be told of a change, and has no address in `members`", person)
        known |= nobodys
        outbox.show(len(nobodys), fault)
        stop.wait(config.pause_ms / 1_000)


def send_due(config: Config, outbox: Outbox, post: Post, stop: threading.Event) -> str:
    """All that is due; where the server itself fails, the rest waits with it. The last fault, or nothing."""
    said = ""
    for digest, waiting in outbox.due(time.monotonic()):
        to = config.members.get(waiting.notice.person)
        if to is None or stop.is_set():
            continue
        message = message_of(waiting.notice, digest, config.sender, to, config.deployment)
        try:
            post.send(message)
        except (RefusedError, SendError) as fault:
            said = str(fault)
            LOG.warning("%s isn't told of %s yet: %s", waiting.notice.person, waiting.notice.change, fault)
            outbox.later(digest, time.monotonic())
            if isinstance(fault, SendError):
                break
        else:
            outbox.was_sent(digest)
            LOG.info("%s was told of %s", waiting.notice.person, waiting.notice.change)
    return said


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom serve notify")
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        config = read_config(parser.parse_args().config)
        outbox = Outbox(Path(config.notices_file), Path(config.folder))
        notify(config, outbox, open_post(config), stop)
    except (ConfigError, OSError) as fault:
        LOG.error("%s", fault)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
