/* A program that a client uploads: says that it ran, and as whom. */
#include <stdio.h>
#include <unistd.h>

int main(int count, char **words) {
    printf("%s ran as %d\n", count > 1 ? words[1] : "uploaded", (int)geteuid());
    return 0;
}
