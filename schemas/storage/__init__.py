"""Local disks and object stores."""
