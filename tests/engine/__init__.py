"""Working off windows, a page at a time, without a broker; `tests/broker` has the trials over a real one."""
