"""Watching a folder or a microphone: what is heard is appended to a file of events.

    events_file  lines that are written once and not lost
    folder       new files, once they are complete
    sound_tail   the last seconds of a microphone on the disk, for what a crash cuts off
    listening    a microphone, from its sound to events
    sources      where sound comes from: a device, or standard input
    clips        the sound of events, under a quota
    broker       events by MQTT

Whatever ends the process, the next call goes on where it stopped.
"""

__all__: list[str] = []
