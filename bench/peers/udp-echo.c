/*
 * udp-echo: sends every UDP datagram back to where it came from.
 *
 *     udp-echo ADDRESS PORT
 *
 * Prints `ready` and runs until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

static char datagram[65536];

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: udp-echo ADDRESS PORT\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || inet_pton(AF_INET, argv[1], &at.sin_addr) != 1 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
    fprintf(stderr, "udp-echo: binding %s:%s: %s\n", argv[1], argv[2], strerror(errno));
    return 1;
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t size = recvfrom(fd, datagram, sizeof datagram, 0, (struct sockaddr *)&from, &length);
    if (size >= 0) sendto(fd, datagram, size, 0, (struct sockaddr *)&from, length); /* lost: the asker counts it */
  }
}
