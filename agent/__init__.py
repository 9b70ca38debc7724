"""The daemon: settings, task tree, logs, command line."""
