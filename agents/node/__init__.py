"""The kubelet's part: pods, probes, volumes, images, status, logs, exec. Container runtimes plug in."""
