"""The journal: every frame as received, every command as sent, in segment files.

`format` is the pure encoding, `writer` appends, `reader` follows.
"""
