#include <pcxx/core/memory.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace pcxx {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest that it takes: larger blocks are given back
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace pcxx
