/* mapped FILE: for each number on stdin, adds 1 to the byte at that place through one shared mapping, which
   stays as long as the program; answers each with a line. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(int count, char **words) {
  struct stat found;
  int file = count > 1 ? open(words[1], O_RDWR) : -1;
  if (file < 0 || fstat(file, &found) || found.st_size == 0) return 1;
  volatile char *map = mmap(0, found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (map == MAP_FAILED) return 1;
  for (long place; scanf("%ld", &place) == 1;) {
    map[place % found.st_size]++;
    puts("done");
    fflush(stdout);
  }
  return 0;
}
