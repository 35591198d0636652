"""Accesses local disks and object stores."""
