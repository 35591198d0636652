"""Recognises the files of other programs by their names: `.DS_Store`, `._0.jpg`, `Thumbs.db`, all below `__MACOSX/`."""

_SYSTEM_FOLDERS = {"__MACOSX", "@eaDir"}  # folders for file attributes, of macOS and of Synology
_WINDOWS_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini"}  # hidden by a flag that no copy of them keeps


def is_hidden_name(name: str) -> bool:
    """Returns whether the name of a file or folder, without a path, begins with a dot or is one of Windows."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in _WINDOWS_FILES


def is_hidden_path(path: str) -> bool:
    """Returns whether a file, or a folder on its path, is hidden or reserved by a system.

    Paths that leave their folder are not hidden: they are reported as unsafe.
    """
    if "/" not in path:
        return is_hidden_name(path)
    *folders, name = path.split("/")
    is_safe = not path.startswith("/") and ".." not in folders
    is_below = any(folder in _SYSTEM_FOLDERS or is_hidden_name(folder) for folder in folders)
    return is_safe and (is_below or is_hidden_name(name))
