#pragma once
#include <stddef.h>

// From here on blocks of `bytes` and more go back to the host when they are freed, where the C library lets that be said.
void cvmsync_give_back_blocks_from(size_t bytes);
