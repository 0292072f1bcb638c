"""Run the command line: `python -m mvs`."""

from mvs.cli.start import run

run()
