/*
 * httpd: answers every request with the same 2-byte body and closes the connection: the least work a server can do per
 * connection, so that the network between it and wrk is what is measured.
 *
 *     httpd ADDRESS PORT [keep-alive]
 *
 * With keep-alive the client closes, after as many requests as it likes.
 *
 * Whatever the first read gives is taken for a whole request: wrk's are shorter than one segment. Prints `ready` and runs
 * until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define EVENTS 64

static const char last_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void die(const char *what) {
  fprintf(stderr, "httpd: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int listening(const char *address, const char *port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || inet_pton(AF_INET, address, &at.sin_addr) != 1) die(address);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, BACKLOG) < 0) die("listening");
  return fd;
}

static void watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static void accept_all(int epoll, int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) watch(epoll, fd);
}

static void serve(int fd, int keep_alive) {
  char request[4096];
  ssize_t length = recv(fd, request, sizeof request, 0);
  if (length < 0 && errno == EAGAIN) return;
  if (length > 0 && keep_alive) {
    send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
    return;
  }
  if (length > 0) send(fd, last_answer, sizeof last_answer - 1, MSG_NOSIGNAL);
  close(fd);
}

int main(int argc, char **argv) {
  int keep_alive = argc == 4 && strcmp(argv[3], "keep-alive") == 0;
  if (argc != 3 && !keep_alive) {
    fprintf(stderr, "usage: httpd ADDRESS PORT [keep-alive]\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int listener = listening(argv[1], argv[2]), epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll_create1");
  watch(epoll, listener);
  puts("ready");
  fflush(stdout);
  struct epoll_event events[EVENTS];
  for (;;) {
    int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == listener) accept_all(epoll, listener);
      else serve(events[i].data.fd, keep_alive);
    }
  }
}
