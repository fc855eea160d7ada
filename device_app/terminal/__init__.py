"""What the user sees and presses: the login screen, the QR code, the Enter key, tables and plots. Sends no requests."""
