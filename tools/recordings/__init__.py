"""Records objects of incidents from a real API server, scheduler, KubeRay and kubelet, for tests of the diagnosis (`make record`)."""
