"""What plugins register: hook specifications, the registry of names, options, discovery of plugins."""
