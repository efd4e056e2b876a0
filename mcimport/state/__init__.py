"""Stores lists, runs, windows and dead letters in one SQLite file; all SQL is in this folder.

Times are ISO 8601 text in UTC, so that a person can read them with any SQLite browser; in Python they are whole seconds
since the epoch.
"""

from mcimport.state.copies import back_up, copy_in_memory
from mcimport.state.database import State, StatePool, check_state_file, open_state, state_exists
from mcimport.state.locking import check_folder, held_for_other_lists, lock_client, lock_holder

__all__ = [
    "State",
    "StatePool",
    "back_up",
    "check_folder",
    "check_state_file",
    "copy_in_memory",
    "held_for_other_lists",
    "lock_client",
    "lock_holder",
    "open_state",
    "state_exists",
]
