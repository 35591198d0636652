"""Programs that run in environments of their own, whose packages ours can't be installed beside; and their pins."""
