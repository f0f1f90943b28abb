#pragma once

/// What the library of faults offers to the process that it is in.
extern "C" {

/// From now on: at the `n`-th operation (open, write, fsync, rename, unlink, rmdir, mkdir, symlink)
/// on a path that starts with `folder` this process is killed (error 0), or the operation fails
/// with that errno, it alone or all from then on. n = 0: they are only counted.
void pcxx_faults_arm(const char* folder, long n, int error, bool from_then_on);
/// How many there were since.
long pcxx_faults_count();
}
