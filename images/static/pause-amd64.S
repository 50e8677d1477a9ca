# The pause process of a sandbox: reaps zombies, ends at once on SIGTERM or SIGINT. Linux amd64, no libc.
    .intel_syntax noprefix
    .text
    lea rsi, [rip + ignore]         # rt_sigaction(SIGCHLD, {SIG_IGN}, 0, 8): the kernel then reaps our children itself
    mov edi, 17
    xor edx, edx
    mov r10d, 8
    mov eax, 13
    syscall
    lea rsi, [rip + signals]        # rt_sigprocmask(SIG_BLOCK, signals, 0, 8): process 1 never sees an unhandled
    xor edi, edi                    # signal, but a blocked one stays pending for us to take
    xor edx, edx
    mov r10d, 8
    mov eax, 14
    syscall
wait:
    lea rdi, [rip + signals]        # rt_sigtimedwait(signals, 0, 0, 8)
    xor esi, esi
    xor edx, edx
    mov r10d, 8
    mov eax, 128
    syscall
    test eax, eax
    js wait                         # EINTR
    xor edi, edi                    # exit_group(0)
    mov eax, 231
    syscall
    .balign 8
signals:
    .quad 0x4002                    # SIGINT (2) and SIGTERM (15)
ignore:
    .quad 1, 0, 0, 0                # struct sigaction: SIG_IGN, no flags, no restorer, empty mask
