/*
 * sink: a bound UDP socket whose filter drops every datagram in the kernel, so that receiving wakes no process and costs both
 * peers the same. Deliveries are counted at the interface, not here.
 *
 *     sink ADDRESS PORT
 *
 * Prints `ready` and runs until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: sink ADDRESS PORT\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sock_filter drop_all[] = {{.code = BPF_RET | BPF_K, .k = 0}};
  struct sock_fprog program = {.len = 1, .filter = drop_all};
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || inet_pton(AF_INET, argv[1], &at.sin_addr) != 1 ||
      setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
    fprintf(stderr, "sink: binding %s:%s: %s\n", argv[1], argv[2], strerror(errno));
    return 1;
  }
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
