"""Start the program as `python -m device_app`."""

from device_app.cli import main

main()
