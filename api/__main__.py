"""`python -m api`: the command line, where no script of its name is installed."""

from api.cli import main

main(prog_name="device-api")
