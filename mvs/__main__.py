"""Run the command line: `python -m mvs`."""

from mvs.cli.main import run

run()
