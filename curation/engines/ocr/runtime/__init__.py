"""What loads heavy libraries: imported only in a process that runs one of these engines."""
