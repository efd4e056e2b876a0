"""What drives each peer: a small script that runs inside the peer's own environment, and so imports nothing of ours.

Each is started as `python -I SCRIPT WISH`, the wish as JSON: the addresses and keys of a sandbox, and `out`, the file
to which a peer that only reads writes whom it read. None may take longer than its alarm allows.
"""
