"""Checks everything that a sync needs: settings, state file, keys, services, lists.

Checks change nothing, and each finding says what was seen and what fixes it.
"""

from mcimport.monitoring.check.checkup import run_checks
from mcimport.monitoring.check.finding import Finding

__all__ = ["Finding", "run_checks"]
