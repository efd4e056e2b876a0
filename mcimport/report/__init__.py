"""What a person sees: progress, tables, summaries; plain lines without a terminal, JSON for programs.

`make_reporter` chooses what a call shows; its Protocol is `mcimport.report.reporter.Reporter`. Rich is only loaded once
something is drawn.
"""

from mcimport.report.json_lines import json_line
from mcimport.report.select import make_reporter
from mcimport.report.summary import block, line

__all__ = ["block", "json_line", "line", "make_reporter"]
