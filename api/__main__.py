"""`python -m api`: the same as `device-api`, without an installed script."""

from api.cli import main

main(prog_name="device-api")
