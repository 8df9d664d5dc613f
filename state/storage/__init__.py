"""Where state meets the disk: the durable log of envelopes. The only part of `state` that does I/O.

`log` decides what is sound in a file, `writer` when bytes are durable (one thread, one fdatasync for many).
"""
