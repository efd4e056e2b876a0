"""Whether everything that a sync needs is there and works: settings, state file, keys, services, lists.

Each look is a read, and each finding says what was seen and what mends it.
"""

from mcimport.checkup.finding import Finding
from mcimport.checkup.story import look

__all__ = ["Finding", "look"]
