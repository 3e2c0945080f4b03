"""What must survive a restart: keys, in a folder of files."""
