"""Whether everything that a sync needs is there and works: settings, state file, keys, services, lists.

Each look is a read, and each finding says what was seen and what fixes it.
"""

from mcimport.monitoring.check.checkup import look
from mcimport.monitoring.check.finding import Finding

__all__ = ["Finding", "look"]
