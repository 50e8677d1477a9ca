// covey-init, first process of a container that joins a warm sandbox. Linux arm64, no libc.
// It connects to the agent's socket /.covey/socket (close-on-exec), then, for each message the agent sends there (a path,
// ended by a zero byte), tries execve(path, argv + 1, envp). Success closes the socket, which tells the agent; failure
// writes the negative errno as 8 bytes and waits for the next path. When the agent hangs up it exits with 128.
    .text
    mov x19, sp                     // argc, argv[0], argv[1] ..., 0, envp ...
    sub sp, sp, #4096               // the buffer for a path
    mov x0, #1                      // socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
    mov x1, #1
    movk x1, #8, lsl #16
    mov x2, #0
    mov x8, #198
    svc #0
    tbnz x0, #63, fail
    mov x20, x0
    adr x1, address                 // connect(socket, address, 17)
    mov x2, #17
    mov x8, #203
    svc #0
    tbnz x0, #63, fail
next:
    mov x0, x20                     // read(socket, buffer, 4096)
    mov x1, sp
    mov x2, #4096
    mov x8, #63
    svc #0
    cmp x0, #0
    b.le fail
    mov x0, sp                      // execve(buffer, &argv[1], &envp[0] = &argv[argc + 1])
    add x1, x19, #16
    ldr x2, [x19]
    add x2, x19, x2, lsl #3
    add x2, x2, #16
    mov x8, #221
    svc #0
    str x0, [sp]                    // write(socket, errno, 8)
    mov x0, x20
    mov x1, sp
    mov x2, #8
    mov x8, #64
    svc #0
    b next
fail:
    mov x0, #128                    // exit_group(128)
    mov x8, #94
    svc #0
address:
    .short 1                        // struct sockaddr_un: AF_UNIX and the path
    .asciz "/.covey/socket"
