// Tests are written in TypeScript and run as compiled; what else lies in dist/test are their helpers.
export default {
  // Of no test ending; the default of 10 s is too short for suites that run tools one after the other.
  timeout: '2m',
  // A process a file, not a thread: tests enter network namespaces, and close descriptors that Node did not open.
  workerThreads: false,
  files: ['dist/test/**/*.test.js'],
};
