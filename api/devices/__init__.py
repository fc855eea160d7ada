"""The sample resource: devices and their readings."""
