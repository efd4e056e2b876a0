"""Progress, tables and summaries for people; plain lines without a terminal; JSON for programs.

`make_reporter` returns the reporter that suits a call; each is a `mcimport.report.reporter.Reporter`.
Rich is only loaded once something is drawn.
"""

from mcimport.report.json_lines import json_line
from mcimport.report.select import make_reporter
from mcimport.report.summary import summary_block, summary_line

__all__ = ["json_line", "make_reporter", "summary_block", "summary_line"]
