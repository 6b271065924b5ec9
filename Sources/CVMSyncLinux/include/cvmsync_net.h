#pragma once

// Makes a socket like socket(2), in the network namespace that the file `path` stands for: it belongs there for ever,
// whoever uses it. Returns -1 with errno set when it fails. The calling thread is in its own namespace again afterwards.
int cvmsync_socket_in(const char *path, int domain, int type);
