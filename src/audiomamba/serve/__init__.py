"""The server, its page, and the watcher of folders and microphones; all of them only call infer.

settings   what is allowed: sizes, lengths, times, addresses
gate       what every request passes before anything reads it: bytes, time, origin, token
patience   connections that never finish a request
uploads    the recording of a request, from its body or from an address
bounded    a tagger that reads no more than is allowed, and stops when it is told to
work       a few workers, a short queue, and a refusal when that is full
answers    the addresses that answer about one recording
state      the addresses that answer about the server
app        all of it together
command    the process
"""

__all__: list[str] = []
