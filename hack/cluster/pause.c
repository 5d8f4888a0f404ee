/* The first process of a sandbox, of a cluster machine and of a pod alike: it
 * keeps the namespaces alive and reaps orphans. Its arguments, if any, only tell
 * a reader of `ps` what it holds. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int sig) {
  (void)sig;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}

static void stop(int sig) {
  (void)sig;
  _exit(0);
}

int main(void) {
  struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
  struct sigaction on_stop = {.sa_handler = stop};
  if (sigaction(SIGCHLD, &on_child, NULL) || sigaction(SIGTERM, &on_stop, NULL) ||
      sigaction(SIGINT, &on_stop, NULL)) {
    return EXIT_FAILURE;
  }
  for (;;) {
    pause();
  }
}
