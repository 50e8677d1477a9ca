// The pause process of a sandbox: reaps zombies, ends at once on SIGTERM or SIGINT. Linux arm64, no libc.
    .text
    mov x0, #17                     // rt_sigaction(SIGCHLD, {SIG_IGN}, 0, 8): the kernel then reaps our children itself
    adr x1, ignore
    mov x2, #0
    mov x3, #8
    mov x8, #134
    svc #0
    mov x0, #0                      // rt_sigprocmask(SIG_BLOCK, signals, 0, 8): process 1 never sees an unhandled
    adr x1, signals                 // signal, but a blocked one stays pending for us to take
    mov x2, #0
    mov x3, #8
    mov x8, #135
    svc #0
wait:
    adr x0, signals                 // rt_sigtimedwait(signals, 0, 0, 8)
    mov x1, #0
    mov x2, #0
    mov x3, #8
    mov x8, #137
    svc #0
    tbnz x0, #63, wait              // EINTR
    mov x0, #0                      // exit_group(0)
    mov x8, #94
    svc #0
    .balign 8
signals:
    .quad 0x4002                    // SIGINT (2) and SIGTERM (15)
ignore:
    .quad 1, 0, 0, 0                // struct sigaction: SIG_IGN, no flags, no restorer, empty mask
