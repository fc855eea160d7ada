"""What is seen: the login screen, pictures, tables, plots, and the keyboard. Nothing here talks to a server."""
