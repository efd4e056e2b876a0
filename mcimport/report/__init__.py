"""Progress, tables and summaries for people; plain lines without a terminal; JSON for programs.

`console.make_reporter` returns the `reporter.Reporter` that suits a call. Rich is only loaded once something is drawn.
"""
