"""The packages in the images, with licences: as a page, and as a bill of materials; not what the base image has."""
