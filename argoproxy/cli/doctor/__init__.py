"""`doctor`: what keeps the proxy from working, and the setting to change."""
