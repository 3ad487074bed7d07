"""What several verbs use: the connection to a cluster, files of manifests, output, exit codes."""
